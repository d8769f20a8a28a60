/** Exponential moving average in continuous time. */
package io.rampipe.rate.ema.internal;
