/**
 * The contracts of RamPipe: what an event source, a rate estimator, a pin strategy and a syncback
 * are, the pin record that they share, and the engine's own service. Strategies know this package
 * and nothing of each other.
 */
@Export
@Version("1.1.0")
package io.rampipe.api;

import org.osgi.annotation.bundle.Export;
import org.osgi.annotation.versioning.Version;
