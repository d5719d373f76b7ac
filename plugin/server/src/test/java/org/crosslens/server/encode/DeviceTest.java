package org.crosslens.server.encode;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class DeviceTest {

    @Test
    void aDeviceIsNamedAsItIsWritten() {
        for (Device device : Device.values()) {
            assertEquals(device, Device.of(device.toString()));
        }
    }

    @Test
    void anUnknownDeviceIsAnsweredWithThoseThereAre() {
        String said = assertThrows(IllegalArgumentException.class, () -> Device.of("tpu")).getMessage();
        assertTrue(said.contains("cpu, cuda") && said.contains("[tpu]"), said);
    }

    @Test
    void theUsualBuildIsForTheProcessorOnlyAndSaysHowToGetTheOther() {
        assertDoesNotThrow(Device.CPU::require);
        String said = assertThrows(IllegalArgumentException.class, Device.CUDA::require).getMessage();
        assertTrue(said.contains("crosslens plugin build --device cuda"), said);
    }
}
