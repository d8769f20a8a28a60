/** Watches directory by directory with inotify. */
package io.rampipe.source.inotify.internal;
