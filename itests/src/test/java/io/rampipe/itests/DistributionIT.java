package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.inject.Inject;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.framework.Constants;
import org.osgi.framework.startlevel.BundleStartLevel;
import org.osgi.service.component.runtime.ServiceComponentRuntime;
import org.osgi.service.component.runtime.dto.ComponentConfigurationDTO;
import org.osgi.service.component.runtime.dto.UnsatisfiedReferenceDTO;

/** What ships starts, completely. */
@ExtendWith(RamPipeContainer.class)
public class DistributionIT {

    @Inject private BundleContext context;
    @Inject private ServiceComponentRuntime components;

    @Test
    public void everyShippedBundleIsActive() {
        Set<String> shipped = shippedJars();
        assertTrue(shipped.contains("io.rampipe.engine.jar"), () -> "no engine in " + shipped);
        List<String> down =
                Arrays.stream(context.getBundles())
                        .filter(bundle -> shipped.remove(jarName(bundle)))
                        .filter(bundle -> bundle.getState() != expectedState(bundle))
                        .map(bundle -> bundle + " is in state " + bundle.getState())
                        .toList();
        assertEquals(List.of(), down);
        assertEquals(Set.of(), shipped, "shipped, but not installed");
    }

    @Test
    public void everyComponentIsSatisfied() {
        List<String> unsatisfied =
                components.getComponentDescriptionDTOs().stream()
                        .flatMap(d -> components.getComponentConfigurationDTOs(d).stream())
                        .filter(DistributionIT::isUnsatisfied)
                        .map(DistributionIT::describe)
                        .toList();
        assertEquals(List.of(), unsatisfied);
    }

    @Test
    public void engineStopsBeforeItsStrategies() {
        int engine = startLevel("io.rampipe.engine");
        for (Bundle bundle : context.getBundles()) {
            String name = String.valueOf(bundle.getSymbolicName());
            if (name.matches("io\\.rampipe\\.(source|rate|pin|sync)\\..*")) {
                assertTrue(startLevel(name) < engine, () -> name + " stops with the engine");
            }
        }
    }

    private int startLevel(String symbolicName) {
        return Arrays.stream(context.getBundles())
                .filter(bundle -> symbolicName.equals(bundle.getSymbolicName()))
                .mapToInt(bundle -> bundle.adapt(BundleStartLevel.class).getStartLevel())
                .findFirst()
                .orElseThrow();
    }

    private static boolean isUnsatisfied(ComponentConfigurationDTO component) {
        return component.state != ComponentConfigurationDTO.SATISFIED
                && component.state != ComponentConfigurationDTO.ACTIVE;
    }

    private static String describe(ComponentConfigurationDTO component) {
        return component.description.name
                + ": state "
                + component.state
                + ", lacks "
                + Stream.of(component.unsatisfiedReferences)
                        .map((UnsatisfiedReferenceDTO reference) -> reference.name)
                        .collect(Collectors.joining(", ", "[", "]"))
                + (component.failure == null ? "" : "\n" + component.failure);
    }

    private static int expectedState(Bundle bundle) {
        boolean fragment = bundle.getHeaders().get(Constants.FRAGMENT_HOST) != null;
        return fragment ? Bundle.RESOLVED : Bundle.ACTIVE;
    }

    private Set<String> shippedJars() {
        File[] jars = new File(context.getProperty("rampipe.home"), "bundle").listFiles();
        return Arrays.stream(jars)
                .map(File::getName)
                .collect(Collectors.toCollection(TreeSet::new));
    }

    private static String jarName(Bundle bundle) {
        String location = bundle.getLocation();
        return location.substring(location.lastIndexOf('/') + 1);
    }
}
