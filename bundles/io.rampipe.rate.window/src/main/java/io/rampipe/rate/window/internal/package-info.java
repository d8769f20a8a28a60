/** A sliding window over the accesses of each file. */
package io.rampipe.rate.window.internal;
