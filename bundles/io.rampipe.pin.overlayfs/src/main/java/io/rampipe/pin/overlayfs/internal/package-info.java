/** Puts a directory, or one file, behind an upper layer in RAM. */
package io.rampipe.pin.overlayfs.internal;
