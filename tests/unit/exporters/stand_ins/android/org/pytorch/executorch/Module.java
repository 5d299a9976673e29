package org.pytorch.executorch;

public class Module {
    public static final int LOAD_MODE_MMAP = 1;

    public static native Module load(String modelPath, int loadMode, int numThreads);

    public native EValue[] forward(EValue... inputs);

    public native void destroy();
}
