package org.tensorflow.lite;

import java.nio.ByteBuffer;
import java.util.Map;

public final class Interpreter implements AutoCloseable {
    public Interpreter(ByteBuffer byteBuffer, Options options) {}

    public native void resizeInput(int idx, int[] dims);

    public native void allocateTensors();

    public native int getInputTensorCount();

    public native Tensor getInputTensor(int inputIndex);

    public native int getOutputTensorCount();

    public native Tensor getOutputTensor(int outputIndex);

    public native void runForMultipleInputsOutputs(Object[] inputs, Map<Integer, Object> outputs);

    @Override
    public native void close();

    public static class Options {
        public native Options setNumThreads(int numThreads);
    }
}
