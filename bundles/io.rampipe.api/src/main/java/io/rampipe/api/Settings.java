package io.rampipe.api;

import java.io.IOException;
import java.util.List;
import org.osgi.annotation.versioning.ProviderType;

/** The configuration in force, as users see it: one flat list of keys. Any thread. */
@ProviderType
public interface Settings {
    /** Every key there is, in order. */
    List<Setting> settings();

    /**
     * Why the file was refused that would be in force otherwise: one line for people each. Empty if
     * what the file says is in force.
     */
    List<String> problems();

    /**
     * Sets a key in the file, in which everything else stays as it is, and puts it in force. When
     * this returns the file is on disk; the components are about to get the value.
     *
     * @param value as it would be written in the file
     * @throws IOException if nothing was changed, with the reason for people: no such key, an
     *     invalid value, a file that is refused already, an override, a file that cannot be written
     */
    void set(String key, String value) throws IOException;

    /**
     * Reads the file again now, instead of within two seconds, and puts it in force. While it does
     * so, each {@link ReloadListener} knows.
     *
     * @throws IOException if the file is refused, with the reasons for people, or cannot be read
     */
    void reload() throws IOException;

    /** A complete configuration file: each key described, commented out, with its default. */
    String template();

    /**
     * A key. A change in the file takes effect at once unless the description says otherwise.
     *
     * @param value in force, as it would be written in the file
     * @param standard the default
     * @param form what values it takes, for people: {@code 1s to 1d}, {@code true or false}
     * @param pid configuration PID of the component that it is for
     */
    record Setting(
            String key,
            String value,
            String standard,
            Source source,
            String form,
            String description,
            String pid) {}

    /** Where a value comes from. */
    enum Source {
        /** Nobody set it. */
        DEFAULT,
        /** The file, or the last valid version of it. */
        FILE,
        /** A system property {@code rampipe.set.KEY}, which goes before the file. */
        OVERRIDE
    }
}
