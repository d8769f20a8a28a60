package io.rampipe.engine.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the kernel says of some disks; {@code itests/pulled} pulls a real one. */
class PullableDiskTest {
    @TempDir Path sys;

    private Path disk(String number, String path, String removable) throws IOException {
        Path device = Files.createDirectories(sys.resolve("devices").resolve(path));
        Files.writeString(device.resolve("removable"), removable + "\n");
        number(number, device);
        return device;
    }

    private void number(String number, Path device) throws IOException {
        Files.createDirectories(sys.resolve("dev/block"));
        Files.createSymbolicLink(sys.resolve("dev/block").resolve(number), device);
    }

    @Test
    void aCardAndItsPartitions() throws Exception {
        Path card = disk("8:0", "pci0/usb1/1-1/host0/block/sda", "1");
        number("8:1", Files.createDirectories(card.resolve("sda1")));
        assertEquals(Optional.of("/dev/sda"), new PullableDisk(sys).pullable("8:0"));
        assertEquals(Optional.of("/dev/sda1"), new PullableDisk(sys).pullable("8:1"));
    }

    @Test
    void aDiskAtAPortThatIsReachedFromOutside() throws Exception {
        disk("8:0", "pci0/usb1/1-1/host0/block/sda", "0");
        Files.writeString(sys.resolve("devices/pci0/usb1/1-1/removable"), "removable\n");
        assertEquals(Optional.of("/dev/sda"), new PullableDisk(sys).pullable("8:0"));
        Files.writeString(sys.resolve("devices/pci0/usb1/1-1/removable"), "fixed\n");
        assertEquals(Optional.empty(), new PullableDisk(sys).pullable("8:0"));
        Files.writeString(sys.resolve("devices/pci0/usb1/1-1/removable"), "unknown\n");
        assertEquals(Optional.empty(), new PullableDisk(sys).pullable("8:0"));
    }

    @Test
    void whatStaysWhereItIs() throws Exception {
        disk("254:0", "pci0/virtio1/block/vda", "0");
        assertEquals(Optional.empty(), new PullableDisk(sys).pullable("254:0"));
        assertEquals(Optional.empty(), new PullableDisk(sys).pullable("0:45"), "no such number");
    }
}
