package org.pytorch.executorch;

public abstract class Tensor {
    public static native Tensor fromBlob(float[] data, long[] shape);

    public static native Tensor fromBlob(int[] data, long[] shape);

    public static native Tensor fromBlob(long[] data, long[] shape);

    public native float[] getDataAsFloatArray();
}
