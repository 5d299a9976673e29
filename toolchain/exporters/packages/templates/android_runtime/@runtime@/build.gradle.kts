plugins {
    alias(libs.plugins.android.library)
}

android {
    namespace = "@package@.@runtime@"
    compileSdk = libs.versions.compileSdk.get().toInt()

    defaultConfig {
        minSdk = libs.versions.minSdk.get().toInt()
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
}

dependencies {
    api(project(":model"))
    implementation(libs.@runtime@)
}
