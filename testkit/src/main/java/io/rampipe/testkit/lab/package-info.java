/** Tests that run in a kernel of their own: {@link io.rampipe.testkit.lab.InLab}. */
package io.rampipe.testkit.lab;
