package io.rampipe.api;

import org.osgi.annotation.versioning.ConsumerType;

/**
 * A service that is told when the configuration is read again by command. Called by the thread that
 * does it.
 */
@ConsumerType
public interface ReloadListener {
    /** It begins. */
    void reloading();

    /** It has ended, well or not. */
    void reloaded();
}
