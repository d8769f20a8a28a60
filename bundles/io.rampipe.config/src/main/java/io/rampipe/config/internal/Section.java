package io.rampipe.config.internal;

import io.rampipe.api.Names;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.apache.felix.metatype.AD;
import org.apache.felix.metatype.Designate;
import org.apache.felix.metatype.MetaData;
import org.apache.felix.metatype.MetaDataReader;
import org.apache.felix.metatype.OCD;
import org.osgi.framework.Bundle;

/**
 * The keys of one component.
 *
 * @param pid its configuration PID
 */
record Section(String pid, String name, String description, List<Attribute> attributes) {

    /** Where metatype documents are (OSGi Compendium 105.8). */
    private static final String DOCUMENTS = "OSGI-INF/metatype";

    /**
     * What a bundle describes. The documents themselves are read, because MetaTypeService does not
     * tell the bounds; and without resolving the bundle, so that keys are known from the moment it
     * is installed.
     */
    static List<Section> of(Bundle bundle) throws IOException {
        List<Section> sections = new ArrayList<>();
        var paths = bundle.getEntryPaths(DOCUMENTS);
        if (paths != null) {
            for (String path : Collections.list(paths)) {
                URL document = path.endsWith(".xml") ? bundle.getEntry(path) : null;
                if (document != null) {
                    try (InputStream in = document.openStream()) {
                        sections.addAll(read(in));
                    } catch (IOException | IllegalArgumentException e) {
                        throw new IOException(
                                "cannot read "
                                        + path
                                        + " of bundle "
                                        + bundle.getSymbolicName()
                                        + ": "
                                        + e.getMessage(),
                                e);
                    }
                }
            }
        }
        return sections;
    }

    /** The sections of a document for PIDs of RamPipe's. */
    static List<Section> read(InputStream document) throws IOException {
        List<Section> sections = new ArrayList<>();
        MetaData data = new MetaDataReader().parse(document);
        if (data == null || data.getDesignates() == null) {
            return sections;
        }
        Map<?, ?> classes = data.getObjectClassDefinitions();
        for (Object each : data.getDesignates()) {
            Designate designate = (Designate) each;
            String pid = designate.getPid();
            if (pid != null && pid.startsWith(Names.PID_PREFIX)) {
                OCD ocd = (OCD) classes.get(designate.getObject().getOcdRef());
                if (ocd == null) {
                    throw new IOException("no definition for PID " + pid);
                }
                sections.add(of(pid, ocd));
            }
        }
        return sections;
    }

    private static Section of(String pid, OCD ocd) {
        List<Attribute> attributes = new ArrayList<>();
        if (ocd.getAttributeDefinitions() != null) {
            for (Object each : ocd.getAttributeDefinitions().values()) {
                attributes.add(attribute((AD) each));
            }
        }
        return new Section(pid, ocd.getName(), text(ocd.getDescription()), List.copyOf(attributes));
    }

    private static Attribute attribute(AD ad) {
        List<String> standard = list(ad.getDefaultValue());
        int cardinality = ad.getCardinality();
        return checked(
                new Attribute(
                        ad.getID(),
                        Kind.of(
                                ad.getType(),
                                ad.getMin(),
                                ad.getMax(),
                                standard.isEmpty() ? null : standard.get(0)),
                        // Negative: a collection; Integer.MIN_VALUE has no absolute value.
                        cardinality == Integer.MIN_VALUE
                                ? Integer.MAX_VALUE
                                : Math.abs(cardinality),
                        ad.getMin(),
                        ad.getMax(),
                        list(ad.getOptionValues()),
                        standard,
                        ad.isRequired(),
                        ad.getDescription() == null ? text(ad.getName()) : ad.getDescription()));
    }

    /** A mistake in a bundle is not to be told as a mistake in the users' file. */
    private static Attribute checked(Attribute attribute) {
        try {
            for (String bound : Arrays.asList(attribute.min(), attribute.max())) {
                if (bound != null && attribute.kind().isOrdered()) {
                    attribute.kind().order(bound);
                }
            }
            if (!attribute.standard().isEmpty()) {
                attribute.parse(attribute.standardText());
            }
            return attribute;
        } catch (InvalidValueException | IllegalArgumentException e) {
            throw new IllegalArgumentException(
                    "bounds or default of " + attribute.key() + " make no sense: " + e.getMessage(),
                    e);
        }
    }

    private static List<String> list(String[] values) {
        return values == null ? List.of() : List.of(values);
    }

    private static String text(String value) {
        return value == null ? "" : value;
    }
}
