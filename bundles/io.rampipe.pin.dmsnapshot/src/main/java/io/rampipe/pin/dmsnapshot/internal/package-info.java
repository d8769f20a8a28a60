/** Puts one large file behind a snapshot of it, whose changes are in RAM. */
package io.rampipe.pin.dmsnapshot.internal;
