/** Trees of every kind of file, random operations on them, exact comparison. */
package io.rampipe.testkit.tree;
