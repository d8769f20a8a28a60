package io.rampipe.sync.journal.internal;

import io.rampipe.api.Target;

/** With pins of single files. */
class JournalFileContractTest extends JournalContractTest {
    @Override
    protected Target.Kind kind() {
        return Target.Kind.FILE;
    }
}
