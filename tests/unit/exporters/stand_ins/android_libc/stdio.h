/* Stands in for Android's C library: jni.h includes it and uses nothing of it. */
