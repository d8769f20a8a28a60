/** Tells systemd how the daemon is ({@code sd_notify(3)}). */
package io.rampipe.systemd.internal;
