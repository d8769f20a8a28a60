/**
 * Contract tests: a strategy passes if a test class that extends the one for its kind passes. And
 * what such tests share.
 */
package io.rampipe.tck;
