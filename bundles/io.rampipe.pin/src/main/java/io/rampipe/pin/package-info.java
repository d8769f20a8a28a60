/**
 * What pin strategies have in common: a target opened once and for all, through which mounts it can
 * be reached, leases on its files, and which of them may be pinned alone. Nothing about how.
 */
@Export
@Version("0.1.0")
package io.rampipe.pin;

import org.osgi.annotation.bundle.Export;
import org.osgi.annotation.versioning.Version;
