package io.rampipe.config.internal;

import java.lang.reflect.Array;
import java.net.URI;
import java.nio.file.FileSystemNotFoundException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.osgi.service.cm.Configuration;

/**
 * The users' file, as FileInstall brought it.
 *
 * @param name for people: its path
 * @param path empty if it is not known
 * @param exists whether there is one
 */
record UserFile(String name, Optional<Path> path, boolean exists, Map<String, String> values) {
    /** Where FileInstall says which file a configuration is from. */
    static final String FILE = "felix.fileinstall.filename";

    private static final UserFile NONE =
            new UserFile("rampipe.cfg", Optional.empty(), false, Map.of());

    /**
     * @param configuration null: there is no file
     */
    static UserFile of(Configuration configuration) {
        if (configuration == null || configuration.getProperties() == null) {
            return NONE;
        }
        String name = NONE.name();
        Path known = null;
        Object file = configuration.getProperties().get(FILE);
        if (file != null) {
            try {
                Path path = Path.of(URI.create(file.toString()));
                name = path.toString();
                known = path;
                if (!Files.exists(path)) {
                    // Deleted while no FileInstall was looking; ConfigurationAdmin remembers it.
                    return new UserFile(name, Optional.of(path), false, Map.of());
                }
            } catch (IllegalArgumentException | FileSystemNotFoundException e) {
                name = file.toString();
            }
        }
        Map<String, String> values = new TreeMap<>();
        Distributor.own(configuration.getProperties())
                .forEach((key, value) -> values.put(key, text(value)));
        return new UserFile(name, Optional.ofNullable(known), true, values);
    }

    private static String text(Object value) {
        if (value.getClass().isArray()) {
            List<String> items = new ArrayList<>();
            for (int i = 0; i < Array.getLength(value); i++) {
                items.add(String.valueOf(Array.get(value, i)));
            }
            return String.join(",", items);
        }
        return String.valueOf(value);
    }
}
