/** What tests share. */
package io.rampipe.testkit;
