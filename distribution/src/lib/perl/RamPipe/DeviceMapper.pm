package RamPipe::DeviceMapper;

# Device-mapper by its own ioctls (linux/dm-ioctl.h): needs neither dmsetup nor udev, and
# no nodes but that of its control device.

use strict;
use warnings;
use Errno qw(ENXIO ENOENT ENODEV EBUSY);
use RamPipe::Error;
use RamPipe::Linux qw(:all);

use constant {
    CONTROL => '/dev/mapper/control',
    HEADER  => 312,          # struct dm_ioctl, before what a command brings along
    BUFFER  => 16 * 1024,
    REQUEST => 0xc138fd00,   # _IOWR(0xfd, command, struct dm_ioctl)

    LIST_DEVICES => 2,
    REMOVE       => 4,
    SUSPEND      => 6,
    STATUS       => 7,
    LOAD         => 9,
    TABLE_STATUS => 12,

    FLAG_SUSPEND    => 1 << 1,
    FLAG_TABLE      => 1 << 4,
    FLAG_INACTIVE   => 1 << 6,
    FLAG_SKIP_FS    => 1 << 10,
    FLAG_NO_FLUSH   => 1 << 11,

    PATIENCE => 5,           # seconds; udev and others look at each device for a moment
};

# Returns the answer, a hash, or undef with $! set.
sub run {
    my ($command, $name, $flags, $targets, $data) = @_;
    my $control = open_at(undef, CONTROL, O_RDWR);
    my $m = pack('L3 L3 l L2 x4 Q a128 a129 x7', 4, 0, 0, BUFFER, HEADER, $targets || 0, 0, $flags || 0, 0, 0, $name, '')
        . ($data // '');
    $m .= "\0" x (BUFFER - length $m);
    return if ioctl_on($control, REQUEST | $command, $m) < 0;
    my %d;
    @d{qw(size start targets open flags device uuid)} = unpack 'x12 L3 l L x8 Q x128 Z129', $m;
    $d{major} = $d{device} >> 8 & 0xfff;
    $d{minor} = $d{device} & 0xff | $d{device} >> 12 & 0xfff00;
    $d{suspended} = $d{flags} & FLAG_SUSPEND ? 1 : 0;
    $d{loaded}    = $d{flags} & FLAG_INACTIVE ? 1 : 0;
    $d{bytes}     = $m;
    return \%d;
}

sub failure {
    my ($what, $name) = @_;
    my $errno = $! + 0;
    RamPipe::Error->throw('system', "cannot $what the device $name: $!", $errno);
}

# undef if there is no such device. Of one that is not RamPipe's nothing else is said.
sub find {
    my $name = shift;
    my $d    = eval { run(STATUS, $name) };
    if ($@) {
        return if RamPipe::Error::failed($@, ENOENT, ENODEV, ENXIO);
        die $@;
    }
    if (!$d) {
        return if $! == ENXIO;
        failure('look for', $name);
    }
    RamPipe::Error::refused("there is a device $name that is not RamPipe's (uuid $d->{uuid}): dmsetup info $name")
        if $d->{uuid} ne "RAMPIPE-$name";
    return $d;
}

# The first part of a device: type and parameters of its table, or its status.
sub part {
    my ($name, $flag) = @_;
    my $d = run(TABLE_STATUS, $name, $flag) or failure('get the status of', $name);
    return ('', '') if !$d->{targets};
    return unpack "x$d->{start} x24 Z16 Z*", $d->{bytes};
}

sub table  { return part($_[0], FLAG_TABLE) }
sub status { return part($_[0], FLAG_NO_FLUSH) }

sub suspend { my $name = shift; run(SUSPEND, $name, FLAG_SUSPEND | FLAG_SKIP_FS | FLAG_NO_FLUSH) or failure('suspend', $name); return }
sub resume  { my $name = shift; run(SUSPEND, $name) or failure('resume', $name); return }

# A table of one part, in force from resume on.
sub load {
    my ($name, $length, $type, $parameters) = @_;
    my $text = "$parameters\0";
    $text .= "\0" x (-length($text) & 7);
    run(LOAD, $name, 0, 1, pack('Q2 l L a16', 0, $length, 0, 40 + length $text, $type) . $text)
        or failure('load a table into', $name);
    return;
}

# It is no error if there is none.
sub remove {
    my $name = shift;
    return if !find($name);
    my $until = now() + PATIENCE;
    while (!run(REMOVE, $name)) {
        return if $! == ENXIO;
        failure('remove', $name) if $! != EBUSY || now() > $until;
        pause(0.01);
    }
    return;
}

1;
