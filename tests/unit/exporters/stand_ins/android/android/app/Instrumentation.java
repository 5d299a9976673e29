package android.app;

public class Instrumentation {
    public native android.content.Context getTargetContext();
}
