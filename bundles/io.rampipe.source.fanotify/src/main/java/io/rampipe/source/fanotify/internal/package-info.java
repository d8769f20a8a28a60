/** Reports accesses of whole file systems. */
package io.rampipe.source.fanotify.internal;
