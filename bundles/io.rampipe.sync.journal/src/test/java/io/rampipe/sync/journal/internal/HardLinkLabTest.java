package io.rampipe.sync.journal.internal;

import io.rampipe.testkit.lab.InLab;

/** The same on the lab's older kernel. */
@InLab
class HardLinkLabTest extends HardLinkTest {}
