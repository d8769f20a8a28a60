package RamPipe::Crc32c;

# CRC-32C (Castagnoli; RFC 3720, appendix B.4), in plain Perl and yet quick enough
# for redo logs of gigabytes.
#
# A table for each step takes a dozen of Perl's operations for eight bytes. But
# Perl's tr and ^ work on whole strings at the speed of C. So long data is first
# folded: a checksum is the rest of a division of polynomials, and a piece A of
# CHUNK bytes followed by another, B, leaves the same rest as A * K + B, if K is
# what x ** (8 * CHUNK) leaves. K has 32 bits; so each byte of A times K is five
# bytes, and all bytes are multiplied at once by five tr's, one for each of those.

use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(crc32c);

no warnings 'portable';    # 64 bits are needed anyway

use constant {
    POLYNOMIAL => 0x11edc6f41,
    REVERSED   => 0x82f63b78,
    CHUNK      => 4096,
};

my (@table, @words, @times);

# For single bytes, and for the four pairs of bytes in a word of eight.
sub make_tables {
    for my $n (0 .. 255) {
        my $c = $n;
        $c = $c & 1 ? $c >> 1 ^ REVERSED : $c >> 1 for 1 .. 8;
        $table[$n] = $c;
    }
    my @pair = map { $table[$_ & 0xff] } 0 .. 65535;
    @pair = map { my $c = $_; $c = $table[$c & 0xff] ^ $c >> 8 for 1 .. 2; $c } 0 .. 65535;
    # words[k]: two bytes, followed by 2 * k bytes of zero.
    $words[0] = \@pair;
    for my $k (1 .. 3) {
        my $before = $words[$k - 1];
        $words[$k] = [map { my $c = $_; $pair[$c & 0xffff] ^ $c >> 16 } @$before];
    }
    return;
}

# The product without carries.
sub multiply {
    my ($a, $b) = @_;
    my $product = 0;
    for my $bit (0 .. 7) {
        $product ^= $b << $bit if $a >> $bit & 1;
    }
    return $product;
}

sub mirrored { return ord pack 'B8', unpack 'b8', chr shift }

# Five functions that turn each byte of a string into one byte of its product with K.
sub make_times {
    my $k = 1;
    for (1 .. 8 * CHUNK) {
        $k <<= 1;
        $k ^= POLYNOMIAL if $k >> 32;
    }
    for my $plane (0 .. 4) {
        # Bytes are written with the highest power in the lowest bit.
        my $to = join '', map { sprintf '\\x%02x', mirrored(multiply(mirrored($_), $k) >> 8 * $plane & 0xff) } 0 .. 255;
        $times[$plane] = eval "sub { return \$_[0] =~ tr/\\x00-\\xff/$to/r }" or die $@;
    }
    return;
}

# Four bytes longer than what is given: products reach into higher powers.
sub times_k {
    my $s = shift;
    return $times[4]->($s) ^ "\0" . $times[3]->($s) ^ "\0\0" . $times[2]->($s) ^ "\0\0\0" . $times[1]->($s)
        ^ "\0\0\0\0" . $times[0]->($s);
}

sub fold {
    my $data = shift;
    make_times() if !@times;
    my $sum  = substr $$data, 0, CHUNK;
    my $gap  = "\0" x (CHUNK - 8);
    my $at   = CHUNK;
    while ($at + CHUNK <= length $$data) {
        my $product = times_k($sum);
        # What has grown beyond the chunk is taken once more around.
        $sum = substr($product, 4) ^ $gap . times_k(substr $product, 0, 4) ^ substr $$data, $at, CHUNK;
        $at += CHUNK;
    }
    return ($sum, $at);
}

sub step {
    my ($c, $data) = @_;
    my $whole = length($$data) & ~7;
    my ($w0, $w1, $w2, $w3) = @words;
    for my $word (unpack 'Q<*', substr $$data, 0, $whole) {
        my $x = $word ^ $c;
        $c = $w3->[$x & 0xffff] ^ $w2->[$x >> 16 & 0xffff] ^ $w1->[$x >> 32 & 0xffff] ^ $w0->[$x >> 48];
    }
    $c = $table[($c ^ $_) & 0xff] ^ $c >> 8 for unpack 'C*', substr $$data, $whole;
    return $c;
}

# The checksum of a string of bytes, 0 to 2**32-1.
sub crc32c {
    my $data = shift;
    make_tables() if !@table;
    my $c = 0xffffffff;
    if (length $data >= 3 * CHUNK) {
        # Beginning with all ones is the same as beginning with zero and the first bytes inverted.
        substr($data, 0, 4) ^= "\xff\xff\xff\xff";
        my ($folded, $at) = fold(\$data);
        $c    = step(0, \$folded);
        $data = substr $data, $at;
    }
    return step($c, \$data) ^ 0xffffffff;
}

1;
