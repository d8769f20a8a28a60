/**
 * The Linux system calls that RamPipe makes, behind types that are hard to misuse: a descriptor is
 * an {@link AutoCloseable}, an errno is an exception that names the call, the thing and the error.
 * The only package with JNA.
 */
@Export
@Version("0.1.0")
package io.rampipe.linux;

import org.osgi.annotation.bundle.Export;
import org.osgi.annotation.versioning.Version;
