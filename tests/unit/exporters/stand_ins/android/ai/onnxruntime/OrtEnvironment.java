package ai.onnxruntime;

public final class OrtEnvironment {
    public static native OrtEnvironment getEnvironment();

    public native void setTelemetry(boolean sendTelemetry) throws OrtException;

    public native OrtSession createSession(byte[] modelArray, OrtSession.SessionOptions options) throws OrtException;
}
