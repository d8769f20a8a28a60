package io.rampipe.testkit.lab;

import java.lang.reflect.Method;
import java.util.List;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ExtensionContext.Namespace;
import org.junit.jupiter.api.extension.InvocationInterceptor;
import org.junit.jupiter.api.extension.ReflectiveInvocationContext;
import org.junit.platform.commons.support.AnnotationSupport;

/**
 * What {@link InLab} does. With the system property {@code rampipe.lab=all} and JUnit's {@code
 * junit.jupiter.extensions.autodetection.enabled} it does it for every class, as {@code
 * itests/lab/junit} wants it.
 */
public final class LabExtension
        implements BeforeAllCallback, AfterAllCallback, InvocationInterceptor {

    /** Nothing but the defaults. */
    @InLab
    private static final class Defaults {}

    @Override
    public void beforeAll(ExtensionContext context) throws Exception {
        Class<?> type = context.getRequiredTestClass();
        if (!concerns(type) || runOf(context) != null) {
            return;
        }
        InLab lab =
                AnnotationSupport.findAnnotation(type, InLab.class)
                        .orElseGet(() -> Defaults.class.getAnnotation(InLab.class));
        List<String> selected = SelectedTests.below(context.getUniqueId());
        // Nested classes see it in their parent's store.
        context.getStore(Namespace.create(LabExtension.class))
                .put(LabRun.class, LabRun.of(type.getName(), selected, lab));
    }

    private static boolean concerns(Class<?> type) {
        return !Boolean.getBoolean(LabRun.INSIDE)
                && (System.getProperty("rampipe.lab", "").equals("all")
                        || AnnotationSupport.isAnnotated(type, InLab.class));
    }

    /** Null where tests just run: in the guest, or in classes that do not want it. */
    private static LabRun runOf(ExtensionContext context) {
        return context.getStore(Namespace.create(LabExtension.class))
                .get(LabRun.class, LabRun.class);
    }

    @Override
    public void afterAll(ExtensionContext context) {
        LabRun run = runOf(context);
        if (run != null) {
            run.replayContainer(context.getUniqueId());
        }
    }

    @Override
    public void interceptTestMethod(
            Invocation<Void> invocation,
            ReflectiveInvocationContext<Method> method,
            ExtensionContext context)
            throws Throwable {
        test(invocation, context);
    }

    @Override
    public void interceptTestTemplateMethod(
            Invocation<Void> invocation,
            ReflectiveInvocationContext<Method> method,
            ExtensionContext context)
            throws Throwable {
        test(invocation, context);
    }

    private static void test(Invocation<Void> invocation, ExtensionContext context)
            throws Throwable {
        LabRun run = runOf(context);
        if (run == null) {
            invocation.proceed();
        } else {
            invocation.skip();
            run.replay(context.getUniqueId());
        }
    }

    @Override
    @SuppressWarnings("unchecked")
    public <T> T interceptTestFactoryMethod(
            Invocation<T> invocation,
            ReflectiveInvocationContext<Method> method,
            ExtensionContext context)
            throws Throwable {
        LabRun run = runOf(context);
        if (run == null) {
            return invocation.proceed();
        }
        invocation.skip();
        List<Event> children = run.children(context.getUniqueId());
        if (children.isEmpty()) {
            run.replay(context.getUniqueId());
        }
        // Whatever the method says that it returns, JUnit takes a collection.
        return (T)
                children.stream()
                        .map(e -> DynamicTest.dynamicTest(e.name(), () -> run.replay(e.id())))
                        .toList();
    }

    @Override
    public void interceptBeforeAllMethod(
            Invocation<Void> invocation,
            ReflectiveInvocationContext<Method> method,
            ExtensionContext context)
            throws Throwable {
        insideOnly(invocation, context);
    }

    @Override
    public void interceptBeforeEachMethod(
            Invocation<Void> invocation,
            ReflectiveInvocationContext<Method> method,
            ExtensionContext context)
            throws Throwable {
        insideOnly(invocation, context);
    }

    @Override
    public void interceptAfterEachMethod(
            Invocation<Void> invocation,
            ReflectiveInvocationContext<Method> method,
            ExtensionContext context)
            throws Throwable {
        insideOnly(invocation, context);
    }

    @Override
    public void interceptAfterAllMethod(
            Invocation<Void> invocation,
            ReflectiveInvocationContext<Method> method,
            ExtensionContext context)
            throws Throwable {
        insideOnly(invocation, context);
    }

    private static void insideOnly(Invocation<Void> invocation, ExtensionContext context)
            throws Throwable {
        if (runOf(context) == null) {
            invocation.proceed();
        } else {
            invocation.skip();
        }
    }
}
