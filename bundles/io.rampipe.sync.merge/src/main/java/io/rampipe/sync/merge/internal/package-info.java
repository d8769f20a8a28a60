/** Syncback by the kernel's snapshot-merge. */
package io.rampipe.sync.merge.internal;
