/** Gogo commands, scope rampipe. */
package io.rampipe.shell.internal;
