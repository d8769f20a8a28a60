package io.rampipe.testkit.lab;

import java.lang.annotation.ElementType;
import java.lang.annotation.Inherited;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * The tests of this class run in the kernel lab ({@code itests/lab/uml}): a Linux 6.1 with
 * device-mapper, loop devices and overlayfs, as root, in a private mount namespace, with an empty
 * ext4 disk at {@code /mnt/lab}. The guest sees this machine's files; what it writes is dropped.
 *
 * <p>The guest is started once for the class, and runs what was selected of it, with the class path
 * and the {@code rampipe.*} system properties of this JVM. Each test there is the test of the same
 * name here: passed, failed with the guest's stack trace, or skipped with its reason. {@code
 * BeforeAll}, {@code BeforeEach} and the like run in the guest alone; constructors, conditions and
 * the sources of parameterised tests run on both sides, and must give the same.
 *
 * <p>Where the lab cannot run, each test is skipped, with the reason. If the guest itself dies, all
 * of it is run once more. The guest's console, kernel log and output are in {@code
 * target/lab/CLASS}.
 *
 * <p>A class that runs on this machine runs in the lab too when it is extended: {@code @InLab class
 * HardLinkLabTest extends HardLinkTest {}}.
 */
@Target(ElementType.TYPE)
@Retention(RetentionPolicy.RUNTIME)
@Inherited
@ExtendWith(LabExtension.class)
public @interface InLab {
    /** The guest is killed then. */
    int seconds() default 600;

    /** Of the guest, in MiB; as much must be free in this machine's {@code /dev/shm}. */
    int memory() default 1024;

    /** Size of the disk, in MiB; it takes memory as it fills. */
    int disk() default 256;
}
