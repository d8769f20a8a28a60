/**
 * The load of the demonstration and of the tests that need one, and the check of what arrived on
 * the disk. No part of the product; a program of its own, see {@link io.rampipe.demo.Main}.
 */
package io.rampipe.demo;
