package org.crosslens.server.encode;

import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtProvider;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.providers.OrtCUDAProviderOptions;
import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/** What a node's graphs run on, by the execution provider of ONNX Runtime that the plugin was built with. */
public enum Device {
    CPU(OrtProvider.CPU) {
        @Override
        void add(OrtSession.SessionOptions options) {}
    },
    CUDA(OrtProvider.CUDA) {
        @Override
        void add(OrtSession.SessionOptions options) throws OrtException {
            try (OrtCUDAProviderOptions cuda = new OrtCUDAProviderOptions(0)) {
                // Its products of float32 numbers have ten bits otherwise, as in Python.
                cuda.add("use_tf32", "0");
                options.addCUDA(cuda);
            }
        }
    };

    private final OrtProvider provider;

    Device(OrtProvider provider) {
        this.provider = provider;
    }

    /** Has graphs that are loaded with {@code options} run on this device. */
    abstract void add(OrtSession.SessionOptions options) throws OrtException;

    /** By its name in the node's settings. Throws {@link IllegalArgumentException} for any other. */
    public static Device of(String name) {
        return Arrays.stream(values())
            .filter(device -> device.toString().equals(name))
            .findFirst()
            .orElseThrow(
                () -> new IllegalArgumentException(
                    "crosslens.device must be one of "
                        + Arrays.stream(values()).map(Device::toString).collect(Collectors.joining(", "))
                        + ", not ["
                        + name
                        + "]"
                )
            );
    }

    /** Throws {@link IllegalArgumentException} where the plugin was built without what this device needs, or the node lacks it. */
    public void require() {
        if (this == CPU) {
            return;
        }
        if (OrtEnvironment.getAvailableProviders().contains(provider) == false) {
            throw new IllegalArgumentException(
                "crosslens.device is ["
                    + this
                    + "], and this build of the plugin is for the processor only; install the one that "
                    + "\"crosslens plugin build --device "
                    + this
                    + "\" makes"
            );
        }
        OrtEnvironment.getEnvironment();
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            add(options);
        } catch (OrtException e) {
            throw new IllegalArgumentException("ONNX Runtime can't use crosslens.device [" + this + "] here: " + e.getMessage(), e);
        }
    }

    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
