/**
 * Traces of what programs do to files: recorded through an event source, and replayed to the rate
 * estimators.
 */
package io.rampipe.replay;
