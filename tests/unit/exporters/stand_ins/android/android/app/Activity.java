package android.app;

public class Activity extends android.content.Context {
    protected native void onCreate(android.os.Bundle savedInstanceState);

    public native void setContentView(android.widget.TextView view);

    public final native void runOnUiThread(Runnable action);

    public native android.content.res.AssetManager getAssets();

    public native java.io.File getNoBackupFilesDir();
}
