/** Checks the one configuration file and hands its values to the components. */
package io.rampipe.config.internal;
