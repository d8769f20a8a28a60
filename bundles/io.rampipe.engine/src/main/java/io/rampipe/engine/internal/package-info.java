/** Senses, rates, decides, pins and syncs back. */
package io.rampipe.engine.internal;
