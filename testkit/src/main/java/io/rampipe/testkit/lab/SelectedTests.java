package io.rampipe.testkit.lab;

import java.util.List;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;

/** Knows what is to be run, so that the guest runs no more than that. */
public final class SelectedTests implements TestExecutionListener {
    private static volatile TestPlan plan;

    @Override
    public void testPlanExecutionStarted(TestPlan begun) {
        plan = begun;
    }

    /** Unique ids of what is selected below this one; itself if that is not known. */
    static List<String> below(String id) {
        TestPlan all = plan;
        TestIdentifier root =
                all == null
                        ? null
                        : all.getRoots().stream()
                                .flatMap(r -> all.getDescendants(r).stream())
                                .filter(t -> t.getUniqueId().equals(id))
                                .findFirst()
                                .orElse(null);
        if (root == null) {
            return List.of(id);
        }
        // A template's invocations are not known before it runs.
        return all.getDescendants(root).stream()
                .filter(t -> all.getChildren(t).isEmpty())
                .map(TestIdentifier::getUniqueId)
                .toList();
    }
}
