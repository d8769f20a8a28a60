/** Journalled copy of what changed. */
package io.rampipe.sync.journal.internal;
