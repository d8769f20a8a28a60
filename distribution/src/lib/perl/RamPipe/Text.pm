package RamPipe::Text;

# Names and numbers for people. A file may be called anything; what is printed
# must forge neither a line of a log nor a command to a terminal.

use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(shown bytes_text json);

# One character in UTF-8 of more than one byte (RFC 3629: no overlong forms, no
# surrogates).
my $utf8 = qr/[\xc2-\xdf][\x80-\xbf]
    | \xe0[\xa0-\xbf][\x80-\xbf] | [\xe1-\xec\xee\xef][\x80-\xbf]{2} | \xed[\x80-\x9f][\x80-\xbf]
    | \xf0[\x90-\xbf][\x80-\xbf]{2} | [\xf1-\xf3][\x80-\xbf]{3} | \xf4[\x80-\x8f][\x80-\xbf]{2}/x;

# Characters that show nothing or change the direction of writing (Unicode: Cf),
# and the control characters above 127.
sub invisible {
    my $c = shift;
    return $c < 0xa0 || $c == 0xad || $c >= 0x600 && $c <= 0x605 || $c == 0x61c || $c == 0x6dd || $c == 0x70f
        || $c >= 0x890 && $c <= 0x891 || $c == 0x8e2 || $c == 0x180e || $c >= 0x200b && $c <= 0x200f
        || $c >= 0x2028 && $c <= 0x202e || $c >= 0x2060 && $c <= 0x206f || $c == 0xfeff
        || $c >= 0xfff9 && $c <= 0xfffb || $c == 0x110bd || $c == 0x110cd || $c >= 0x13430 && $c <= 0x1343f
        || $c >= 0x1bca0 && $c <= 0x1bca3 || $c >= 0x1d173 && $c <= 0x1d17a || $c >= 0xe0000 && $c <= 0xe0fff;
}

sub code_point {
    my $bytes = shift;
    utf8::decode($bytes);
    return ord $bytes;
}

sub escaped { return join '', map { sprintf '\\x%02x', ord } split //, shift }

# A name or path as bytes to print: UTF-8 as it is, everything that is not to be
# seen, or not UTF-8, as \n, \t, \\ or \xNN.
sub shown {
    my $bytes = shift;
    return '' if !defined $bytes;
    $bytes =~ s{($utf8)|([\x20-\x5b\x5d-\x7e]+)|([\x00-\xff])}{
        defined $1 ? (invisible(code_point($1)) ? escaped($1) : $1)
        : defined $2 ? $2
        : $3 eq "\n" ? '\n' : $3 eq "\t" ? '\t' : $3 eq '\\' ? '\\\\' : escaped($3)
    }gex;
    return $bytes;
}

sub bytes_text {
    my $n = shift;
    return "$n bytes" if $n < 1024;
    for my $unit (qw(KiB MiB GiB TiB)) {
        $n /= 1024;
        return sprintf($n < 10 ? '%.1f %s' : '%.0f %s', $n, $unit) if $n < 1024 || $unit eq 'TiB';
    }
}

# A value as JSON: hashes, lists, undef, \1 and \0 for true and false, numbers, and
# texts of bytes. Bytes that are not UTF-8 become U+DC80 to U+DCFF, as everywhere
# in RamPipe, so that nothing is lost.
sub json {
    my $value = shift;
    return 'null' if !defined $value;
    if (ref $value eq 'HASH') {
        return '{' . join(',', map { text_json($_) . ':' . json($value->{$_}) } sort keys %$value) . '}';
    }
    return '[' . join(',', map { json($_) } @$value) . ']' if ref $value eq 'ARRAY';
    return $$value ? 'true' : 'false' if ref $value eq 'SCALAR';
    return $value if $value =~ /^(0|-?[1-9][0-9]{0,14})\z/;
    return text_json("$value");
}

sub text_json {
    my $bytes = shift;
    $bytes =~ s{($utf8)|([\x00-\xff])}{
        if (defined $1) {
            my $c = code_point($1);
            $c < 0x10000
                ? sprintf('\\u%04x', $c)
                : sprintf('\\u%04x\\u%04x', 0xd7c0 + ($c >> 10), 0xdc00 + ($c & 0x3ff));
        } else {
            my $c = ord $2;
            $2 eq '"' || $2 eq '\\' ? "\\$2" : $c >= 0x80 ? sprintf('\\udc%02x', $c) : $c < 0x20 || $c == 0x7f
                ? sprintf('\\u%04x', $c) : $2;
        }
    }gex;
    return "\"$bytes\"";
}

1;
