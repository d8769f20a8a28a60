/** Runs Gogo commands for the rampipe client over a Unix socket. */
package io.rampipe.control.internal;
