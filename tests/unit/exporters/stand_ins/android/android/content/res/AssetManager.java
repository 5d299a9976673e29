package android.content.res;

public final class AssetManager {
    public native java.io.InputStream open(String fileName) throws java.io.IOException;
}
