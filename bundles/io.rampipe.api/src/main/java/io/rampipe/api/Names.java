package io.rampipe.api;

/** Names of service properties and of pin formats. */
public final class Names {
    /**
     * Service property of every strategy: its name, as used in configuration, pin records and
     * {@code rampipe:use}.
     */
    public static final String NAME = "rampipe.name";

    /**
     * Prefix of the configuration PIDs of all RamPipe components; the user's one file is spread
     * over them.
     */
    public static final String PID_PREFIX = "io.rampipe.";

    private Names() {}
}
