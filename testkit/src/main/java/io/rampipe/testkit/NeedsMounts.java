package io.rampipe.testkit;

import java.io.IOException;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * Skips a test, with the reason, unless it runs as root in a mount namespace of its own, as {@code
 * ./test} arranges: nothing that a test mounts may be seen by the machine.
 */
@Target({ElementType.TYPE, ElementType.METHOD})
@Retention(RetentionPolicy.RUNTIME)
@ExtendWith(NeedsMounts.Condition.class)
public @interface NeedsMounts {
    /** The check behind the annotation. */
    class Condition implements ExecutionCondition {
        @Override
        public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
            try {
                if (!(Files.getAttribute(Path.of("/proc/self"), "unix:uid") instanceof Integer uid)
                        || uid != 0) {
                    return ConditionEvaluationResult.disabled("needs root: run sudo ./test");
                }
                if (!privateMounts()) {
                    return ConditionEvaluationResult.disabled(
                            "needs a private mount namespace: run sudo ./test");
                }
                return ConditionEvaluationResult.enabled("root, in a private mount namespace");
            } catch (IOException e) {
                return ConditionEvaluationResult.disabled(
                        "cannot tell whether mounts are private: " + e);
            }
        }

        /**
         * True if some ancestor of this process lives in another mount namespace. (Not all of them
         * may be looked at.)
         */
        private static boolean privateMounts() throws IOException {
            Path own = Files.readSymbolicLink(Path.of("/proc/self/ns/mnt"));
            for (var p = ProcessHandle.current().parent(); p.isPresent(); p = p.get().parent()) {
                try {
                    if (!own.equals(
                            Files.readSymbolicLink(
                                    Path.of("/proc/" + p.get().pid() + "/ns/mnt")))) {
                        return true;
                    }
                } catch (AccessDeniedException e) {
                    continue;
                }
            }
            return false;
        }
    }
}
