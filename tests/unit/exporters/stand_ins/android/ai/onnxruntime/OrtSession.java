package ai.onnxruntime;

import java.util.Map;
import java.util.Optional;
import java.util.Set;

public class OrtSession implements AutoCloseable {
    public native Result run(Map<String, ? extends OnnxTensor> inputs, Set<String> requestedOutputs) throws OrtException;

    @Override
    public native void close() throws OrtException;

    public static class Result implements AutoCloseable {
        public native Optional<OnnxValue> get(String key);

        @Override
        public native void close();
    }

    public static class SessionOptions implements AutoCloseable {
        public enum OptLevel { ALL_OPT }

        public enum ExecutionMode { SEQUENTIAL }

        public native void setOptimizationLevel(OptLevel level) throws OrtException;

        public native void setExecutionMode(ExecutionMode mode) throws OrtException;

        public native void setIntraOpNumThreads(int numThreads) throws OrtException;

        public native void setInterOpNumThreads(int numThreads) throws OrtException;

        @Override
        public native void close();
    }
}
