package android.widget;

public class TextView {
    public TextView(android.content.Context context) {}

    public native CharSequence getText();

    public final native void setText(CharSequence text);
}
