package io.rampipe.sync.journal.internal;

import io.rampipe.testkit.lab.InLab;

/** The same on the lab's older kernel, where a mapping shows the file in the upper layer. */
@InLab
class CheckpointLabTest extends CheckpointTest {}
