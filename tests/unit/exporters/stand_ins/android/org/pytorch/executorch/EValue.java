package org.pytorch.executorch;

public class EValue {
    public static native EValue from(Tensor tensor);

    public native Tensor toTensor();
}
