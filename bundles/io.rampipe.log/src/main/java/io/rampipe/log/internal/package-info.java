/** Prints the log for people and for journald. */
package io.rampipe.log.internal;
