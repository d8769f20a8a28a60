/** Exponential moving averages in bounded memory. */
package io.rampipe.rate.sketch.internal;
